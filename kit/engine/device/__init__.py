"""Find the device; precision, memory and data transfer.

Reads: the machine.
Writes: device, autocast, allocator settings.

device.py     find the device and prepare the process
amp.py        mixed precision
memory.py     out-of-memory handling
allocator.py  allocator settings for CPU training
prefetch.py   copy the next batch to the GPU in the background
"""
