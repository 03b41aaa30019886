"""What the documentation site is made of beside its pages: generated pages, links, formulas."""
