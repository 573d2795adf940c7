"""LR-HSI + HR-MSI + method or model -> fused raster: one scene, an archive, a cluster."""
