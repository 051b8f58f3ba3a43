"""New tables of items in a trained model: `dmf content refresh`."""
