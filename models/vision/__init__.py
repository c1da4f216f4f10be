"""What a picture is worth: CLIP scores, anomaly checks, and the decision to accept it."""
