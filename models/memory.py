"""Running out of memory, whoever says so."""

_WORDS = ("not enough memory", "can't allocate memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that there is too little memory, of the machine or of a GPU.

    torch has a class of its own for GPUs, and for its CPU allocator a RuntimeError with one of these words
    (c10/core/impl/alloc_cpu.cpp: the first where it checks for itself, the second where the system refuses).
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
