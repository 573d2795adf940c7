"""An LR-HSI and an HR-MSI brought together: placed, registered, checked."""
