"""What this machine has: devices, memory, and which kernels are fast on it."""
