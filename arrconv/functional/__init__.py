"""What users call: checked at the rim, computed by the kernels."""
