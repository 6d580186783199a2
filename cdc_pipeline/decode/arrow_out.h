/* Columns in malloc'ed buffers as one struct array of the Arrow C data interface, which frees them.
 * https://arrow.apache.org/docs/format/CDataInterface.html
 */
#ifndef CDC_PIPELINE_ARROW_OUT_H
#define CDC_PIPELINE_ARROW_OUT_H

#include <stdint.h>
#include <stdlib.h>

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};
#endif

static void arrow_release(struct ArrowArray *array) {
    for (int64_t i = 0; i < array->n_buffers; i++) free((void *)array->buffers[i]);
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i]->release) array->children[i]->release(array->children[i]);
        free(array->children[i]);
    }
    free(array->buffers);
    free(array->children);
    array->release = NULL;
}

/* An array of `length`; NULL without memory. `buffers` and `children` are to be filled. */
static struct ArrowArray *arrow_new(int64_t length, int64_t null_count, int64_t n_buffers, int64_t n_children) {
    struct ArrowArray *array = calloc(1, sizeof *array);
    if (!array) return NULL;
    array->buffers = calloc((size_t)n_buffers, sizeof *array->buffers);
    array->children = calloc((size_t)n_children + 1, sizeof *array->children);
    if (!array->buffers || !array->children) {
        free(array->buffers);
        free(array->children);
        free(array);
        return NULL;
    }
    array->length = length;
    array->null_count = null_count;
    array->n_buffers = n_buffers;
    array->release = arrow_release;
    return array;
}

/* Appends a child that owns two or three buffers, the validity first. They are freed when there is no memory for it. */
static int arrow_column(struct ArrowArray *parent, int64_t nulls, void *validity, void *first, void *second, int buffers) {
    struct ArrowArray *child = arrow_new(parent->length, nulls, buffers, 0);
    if (!child) {
        free(validity);
        free(first);
        free(second);
        return 0;
    }
    child->buffers[0] = validity;
    child->buffers[1] = first;
    if (buffers > 2) child->buffers[2] = second;
    parent->children[parent->n_children++] = child;
    return 1;
}

/* Frees an array, and what it owns unless that was handed over. */
static void arrow_drop(struct ArrowArray *array) {
    if (array->release) array->release(array);
    free(array);
}

#endif
