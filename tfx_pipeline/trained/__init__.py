"""What one finished model is used for: ranking, explaining, replaying, inspecting, serving."""
