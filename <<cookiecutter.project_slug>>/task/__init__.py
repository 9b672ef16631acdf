"""Your model and your data. Replace model.py, data.py and sample/; docs/bring-your-model.md shows how."""
