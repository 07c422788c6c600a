"""The parts of `demo.py`: the scripted model, the worker's process, the person, the evidence, the story."""
