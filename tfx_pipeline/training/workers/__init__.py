"""Training by several worker processes, on one machine or on several: `MultiWorkerMirroredStrategy` of TensorFlow.

Who they are says the environment variable `TF_CONFIG`, as TensorFlow and its operators (TFJob of Kubeflow, Vertex) have
it. TensorFlow must know before its first operation, so each training has a process of its own on every worker
(`member`), started by `launch`: by the step RankingTrainer for the chief, by `dmf worker` for the others. The chief
alone writes. What they leave is the state of a training that has come to its end, with which the step goes on.
"""
