/* Timestamps taken inside an inference engine, from its own callbacks, without the interpreter.
 *
 * llama.cpp calls an abort callback on its first thread after each operation, and an evaluation callback before (ask) and
 * after each graph node that was asked for. Both count their calls and write CLOCK_MONOTONIC_RAW into a buffer that was
 * allocated before the measurement; only the calls named by `watch` are stamped. Nothing here needs the GIL while it runs.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    int64_t *times_ns;
    int64_t capacity;
    int64_t stored;
    int64_t overflow; /* stamps that found the buffer full, since the object was made */
    int64_t calls;
    int64_t place;    /* of the next call in its computation */
    int32_t *watched; /* ascending call numbers, the last one the last of a computation; NULL: stamp every call */
    int64_t watched_count;
    int64_t watched_next;
    int stop;
} stamps;

typedef struct {
    PyObject_HEAD
    Py_buffer times;
    stamps state;
} Stamper;

static void store(stamps *s)
{
    struct timespec now;
    if (s->stored >= s->capacity) {
        s->overflow++;
        return;
    }
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    s->times_ns[s->stored++] = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Counts a call. Behind the last watched one the next computation begins. */
static bool is_watched(stamps *s)
{
    s->calls++;
    if (s->watched == NULL)
        return true;
    if (s->watched_count == 0 || s->place++ != s->watched[s->watched_next])
        return false;
    if (++s->watched_next == s->watched_count)
        s->place = s->watched_next = 0;
    return true;
}

/* ggml_abort_callback: after each operation; true stops the computation. */
static bool after_op(void *data)
{
    stamps *s = data;
    if (is_watched(s))
        store(s);
    return s->stop != 0;
}

/* ggml_backend_sched_eval_callback: `ask` before each node, then once after each node for which true was returned. */
static bool around_node(void *tensor, bool ask, void *data)
{
    stamps *s = data;
    (void)tensor;
    if (ask)
        return is_watched(s);
    store(s);
    return s->stop == 0;
}

static int Stamper_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"times_ns", NULL};
    Stamper *self = (Stamper *)object;
    PyObject *buffer;
    if (self->times.obj != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "a Stamper cannot be initialised twice");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", names, &buffer))
        return -1;
    if (PyObject_GetBuffer(buffer, &self->times, PyBUF_CONTIG | PyBUF_FORMAT) < 0)
        return -1;
    if (self->times.itemsize != sizeof(int64_t) || self->times.format == NULL || strchr("ql", self->times.format[0]) == NULL) {
        PyBuffer_Release(&self->times);
        PyErr_SetString(PyExc_TypeError, "times_ns must be a writable array of 64-bit integers");
        return -1;
    }
    self->state.times_ns = self->times.buf;
    self->state.capacity = self->times.len / (Py_ssize_t)sizeof(int64_t);
    return 0;
}

static void Stamper_dealloc(PyObject *object)
{
    Stamper *self = (Stamper *)object;
    PyTypeObject *type = Py_TYPE(object);
    free(self->state.watched);
    if (self->times.obj != NULL)
        PyBuffer_Release(&self->times);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *Stamper_reset(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    stamps *s = &((Stamper *)object)->state;
    s->stored = s->calls = s->place = s->watched_next = 0;
    Py_RETURN_NONE;
}

static int32_t *ascending_calls(PyObject *sequence, Py_ssize_t count)
{
    int32_t *calls = malloc(sizeof(int32_t) * (size_t)(count ? count : 1));
    long previous = -1;
    if (calls == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        long call = PyLong_AsLong(PySequence_Fast_GET_ITEM(sequence, i));
        if (call <= previous || call > INT32_MAX) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "call numbers must ascend from 0");
            free(calls);
            return NULL;
        }
        previous = call;
        calls[i] = (int32_t)call;
    }
    return calls;
}

static PyObject *Stamper_watch(PyObject *object, PyObject *wanted)
{
    stamps *s = &((Stamper *)object)->state;
    int32_t *calls = NULL;
    Py_ssize_t count = 0;
    if (wanted != Py_None) {
        PyObject *sequence = PySequence_Fast(wanted, "watch() takes a sequence of call numbers, or None for every call");
        if (sequence == NULL)
            return NULL;
        count = PySequence_Fast_GET_SIZE(sequence);
        calls = ascending_calls(sequence, count);
        Py_DECREF(sequence);
        if (calls == NULL)
            return NULL;
    }
    free(s->watched);
    s->watched = calls;
    s->watched_count = count;
    return Stamper_reset(object, NULL);
}

static PyObject *Stamper_op_address(PyObject *Py_UNUSED(object), void *Py_UNUSED(closure))
{
    return PyLong_FromVoidPtr((void *)(uintptr_t)after_op);
}

static PyObject *Stamper_node_address(PyObject *Py_UNUSED(object), void *Py_UNUSED(closure))
{
    return PyLong_FromVoidPtr((void *)(uintptr_t)around_node);
}

static PyObject *Stamper_data_address(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromVoidPtr(&((Stamper *)object)->state);
}

static PyMethodDef Stamper_methods[] = {
    {"watch", Stamper_watch, METH_O, "Stamp only these calls of each computation (ascending, from 0, the last one its last), or every call with None."},
    {"reset", Stamper_reset, METH_NOARGS, "Forget all stamps and calls: a computation begins."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Stamper_getset[] = {
    {"op_address", Stamper_op_address, NULL, "Address of the ggml_abort_callback.", NULL},
    {"node_address", Stamper_node_address, NULL, "Address of the ggml_backend_sched_eval_callback.", NULL},
    {"data_address", Stamper_data_address, NULL, "Address that both callbacks want as their user data.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef Stamper_members[] = {
    {"calls", T_LONGLONG, offsetof(Stamper, state.calls), READONLY, "Calls since the last reset."},
    {"stored", T_LONGLONG, offsetof(Stamper, state.stored), READONLY, "Stamps in the buffer since the last reset."},
    {"overflow", T_LONGLONG, offsetof(Stamper, state.overflow), READONLY, "Stamps that found the buffer full, ever."},
    {"stop", T_INT, offsetof(Stamper, state.stop), 0, "Non-zero: the next call ends the computation."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot Stamper_slots[] = {
    {Py_tp_doc, "Stamper(times_ns): callbacks that write CLOCK_MONOTONIC_RAW into an array('q')."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, Stamper_init},
    {Py_tp_dealloc, Stamper_dealloc},
    {Py_tp_methods, Stamper_methods},
    {Py_tp_getset, Stamper_getset},
    {Py_tp_members, Stamper_members},
    {0, NULL},
};

static PyType_Spec Stamper_spec = {"hookrun._stamp.Stamper", sizeof(Stamper), 0, Py_TPFLAGS_DEFAULT, Stamper_slots};

static int module_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &Stamper_spec, NULL);
    int failed = type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hookrun._stamp",
    .m_doc = "Timestamps from an engine's callbacks.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__stamp(void)
{
    return PyModuleDef_Init(&module_definition);
}
