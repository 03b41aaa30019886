"""What a model is: its files, interface, input description and card; where models lie."""
