"""What makes an exported model, describes it, loads it and checks it."""
