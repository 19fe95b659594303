"""What needs models, as deployments of Ray Serve: engines, the text towers, workers, and a gateway to them."""
