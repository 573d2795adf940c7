"""The chain between end point and HR-HSI, its conditioning and its training."""
