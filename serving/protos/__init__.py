"""Messages of TensorFlow Serving's API under a package name of their own; see README.md beside this file."""
