"""A stand-in for TensorFlow Serving on machines without its binary: one model, its versions, over gRPC and REST."""
