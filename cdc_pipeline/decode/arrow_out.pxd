from libc.stdint cimport int64_t

cdef extern from "arrow_out.h" nogil:
    struct ArrowArray:
        int64_t length
    ArrowArray *arrow_new(int64_t length, int64_t null_count, int64_t n_buffers, int64_t n_children)
    int arrow_column(ArrowArray *parent, int64_t nulls, void *validity, void *first, void *second, int buffers)
    void arrow_drop(ArrowArray *array)
