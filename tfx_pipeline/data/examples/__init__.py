"""From clean rows to requests with histories, as `tf.Example`s, and the audit that proves their order in time."""
