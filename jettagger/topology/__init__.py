"""Event topologies: particles, their daughters and symmetries, and the inputs of networks on whole events."""
