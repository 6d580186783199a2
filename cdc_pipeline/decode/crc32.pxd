from libc.stdint cimport uint32_t

cdef extern from "crc32.h" nogil:
    int crc32_can_fold()
    uint32_t crc32_fold(uint32_t crc, const unsigned char *p, Py_ssize_t n)
