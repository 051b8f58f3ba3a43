"""What any page is made of: blocks, figures, colours, wording. Knows nothing of what it shows."""
