"""Portrait drawings: CycleGAN, CycleSE, CycleDA, Cyclepix and Conditional Cyclepix (Takeoka & He)."""
