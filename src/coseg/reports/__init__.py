"""Results files, tables, published scores, panels, figures and curves."""
