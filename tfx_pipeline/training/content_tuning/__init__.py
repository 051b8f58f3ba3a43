"""Fine-tuning of content vectors on behaviour (C-SFT): closeness comes to mean interest."""
