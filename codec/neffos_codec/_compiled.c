/* The codec's usual ways, compiled: Message, decode and encode.
 *
 * This file owns speed and nothing else. It reads, builds and writes what is ordinary and sound.
 * It hands all else to the pure codec (_decode.py, _encode.py, _message.py), which alone knows
 * what is refused and with which words. A function here says "not ordinary" with NULL and no
 * exception set.
 *
 * Only the limited API of Python 3.11 is used, so that one build serves every later version. This
 * is C since with that API Cython takes 1.4 times as long to decode a short frame and twice as long
 * to encode it, and mypyc has to use more of Python than the API has.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>

#define SEPARATORS 6

/* Up to this size the body is cut out at once; that is cheaper than remembering it. The pure
 * codec has the same bound. */
#define EAGER 2048

/* Up to this length a text is written by way of its UTF-8 form, which is free for ASCII. Python
 * keeps the form of any other text for as long as the text lives, so that this bounds the memory
 * that encoding a message leaves behind. A longer body is joined to its head. */
#define SHORT 1024

/* A namespace, room or event, escaped, is at most 15 times as long: those up to this length fit
 * into the buffer below, and longer ones are left to the pure codec. */
#define LONGEST_FIELD 128
#define ESCAPE "@%!semicolon@%!"
#define ESCAPE_SIZE (sizeof(ESCAPE) - 1)
/* Four bytes for each character of a wait and of a body, three escaped fields, eight separators
 * and flags. */
#define BUFFER (4 * SHORT + 4 * SHORT + 3 * LONGEST_FIELD * ESCAPE_SIZE + 2 * SEPARATORS)

enum { WAIT, NAMESPACE, ROOM, EVENT, IS_ERROR, IS_NO_OP, FIELDS };

/* What the module needs from the package, and the limits that were used last: a program has one or
 * a few. */
#define REFERENCES(EACH)                                                                       \
    EACH(message_type) EACH(pure_message) EACH(pure_decode) EACH(pure_encode)                  \
    EACH(limits_type) EACH(lenient) EACH(strict) EACH(never) EACH(fallback)                    \
    EACH(escape) EACH(semicolon) EACH(limits)

#define DECLARED(name) PyObject *name;
#define VISITED(name) Py_VISIT(state->name);
#define CLEARED(name) Py_CLEAR(state->name);

typedef struct {
    REFERENCES(DECLARED)
    Py_ssize_t most;          /* what these limits say of a payload, */
    Py_ssize_t most_in_field; /* and of a field before the body */
} State;

static int
state_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    REFERENCES(VISITED)
    return 0;
}

static int
state_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    REFERENCES(CLEARED)
    return 0;
}

static void
state_free(void *module)
{
    state_clear(module);
}

/* ---- The message ---- */

/* Its members refer to exact str, bytes and bool, so that no cycle can lead through a message,
 * and the garbage collector need not know it. A large payload is kept whole, with the place
 * where its body begins, until the body is first asked for. */
typedef struct {
    PyObject_HEAD
    PyObject *fields[FIELDS];
    PyObject *body;
    Py_ssize_t start; /* of the body in the payload that "body" still is, or -1 */
} Message;

static Message *
new_message(PyObject *type)
{
    Message *message = (Message *)PyType_GenericAlloc((PyTypeObject *)type, 0);
    if (message != NULL) {
        message->start = -1;
    }
    return message;
}

static void
message_dealloc(PyObject *self)
{
    Message *message = (Message *)self;
    PyTypeObject *type = Py_TYPE(self);
    for (int i = 0; i < FIELDS; i++) {
        Py_XDECREF(message->fields[i]);
    }
    Py_XDECREF(message->body);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* Gives a new reference to the body; cuts it out of its payload at the first time. */
static PyObject *
message_body(PyObject *self, void *Py_UNUSED(closure))
{
    Message *message = (Message *)self;
    if (message->start >= 0) {
        PyObject *payload = message->body, *body;
        if (PyUnicode_Check(payload)) {
            body = PyUnicode_Substring(payload, message->start, PyUnicode_GetLength(payload));
        }
        else {
            body = PyBytes_FromStringAndSize(PyBytes_AsString(payload) + message->start,
                                             PyBytes_Size(payload) - message->start);
        }
        if (body == NULL) {
            return NULL;
        }
        message->body = body;
        message->start = -1;
        Py_DECREF(payload);
    }
    return Py_NewRef(message->body);
}

static PyObject *
message_is_binary(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(!PyUnicode_Check(((Message *)self)->body));
}

static Py_ssize_t
length_of(PyObject *text)
{
    return PyUnicode_Check(text) ? PyUnicode_GetLength(text) : PyBytes_Size(text);
}

/* Tells whether this is the reply that says only "done" (FR-13). */
static int
is_empty_reply(Message *message)
{
    return length_of(message->fields[EVENT]) == 0 && length_of(message->fields[NAMESPACE]) == 0 &&
           length_of(message->fields[ROOM]) == 0 && length_of(message->fields[WAIT]) > 0 &&
           message->fields[IS_ERROR] == Py_False && message->fields[IS_NO_OP] == Py_False &&
           length_of(message->body) == (message->start < 0 ? 0 : message->start);
}

static PyObject *
message_is_empty_reply(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(is_empty_reply((Message *)self));
}

static PyObject *
message_fields(PyObject *self, PyObject *Py_UNUSED(none))
{
    Message *message = (Message *)self;
    PyObject *body = message_body(self, NULL);
    if (body == NULL) {
        return NULL;
    }
    PyObject **fields = message->fields;
    PyObject *all = PyTuple_Pack(FIELDS + 1, fields[WAIT], fields[NAMESPACE], fields[ROOM],
                                 fields[EVENT], fields[IS_ERROR], fields[IS_NO_OP], body);
    Py_DECREF(body);
    return all;
}

/* Tells whether seven values are those of a message, by their types alone. */
static int
are_fields(PyObject **values)
{
    for (int i = WAIT; i <= EVENT; i++) {
        if (!PyUnicode_CheckExact(values[i])) {
            return 0;
        }
    }
    return PyBool_Check(values[IS_ERROR]) && PyBool_Check(values[IS_NO_OP]) &&
           (PyUnicode_CheckExact(values[FIELDS]) || PyBytes_CheckExact(values[FIELDS]));
}

/* Builds a message of seven values of the right types. */
static PyObject *
message_of(PyObject *type, PyObject **values)
{
    Message *message = new_message(type);
    if (message == NULL) {
        return NULL;
    }
    for (int i = 0; i < FIELDS; i++) {
        message->fields[i] = Py_NewRef(values[i]);
    }
    message->body = Py_NewRef(values[FIELDS]);
    return (PyObject *)message;
}

/* Gives a text's UTF-8 form, or NULL without an exception if it has none. */
static const char *
utf8(PyObject *text, Py_ssize_t *size)
{
    const char *data = PyUnicode_AsUTF8AndSize(text, size);
    if (data == NULL && !PyErr_ExceptionMatches(PyExc_MemoryError)) {
        PyErr_Clear();
    }
    return data;
}

/* Tells whether a text has only ASCII characters: 1, 0, or -1 with an exception. */
static int
is_ascii(PyObject *text)
{
    PyObject *answer = PyObject_CallMethod(text, "isascii", NULL);
    int result = answer == NULL ? -1 : answer == Py_True;
    Py_XDECREF(answer);
    return result;
}

/* Tells whether a body is sure to have a form on the wire (FR-12): 1, 0 (the pure codec knows), or
 * -1 with an exception. */
static int
is_sound_body(PyObject *body)
{
    Py_ssize_t size;
    if (!PyUnicode_Check(body)) {
        return 1;
    }
    if (PyUnicode_GetLength(body) > SHORT) {
        return is_ascii(body);
    }
    return utf8(body, &size) != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* Tells whether a message of these values is sure to be sound: 1, 0 (the pure codec knows), or -1
 * with an exception. */
static int
are_sound(PyObject **values)
{
    if (!are_fields(values)) {
        return 0;
    }
    for (int i = WAIT; i <= EVENT; i++) {
        if (PyUnicode_GetLength(values[i]) > SHORT) {
            return 0;
        }
        Py_ssize_t size;
        const char *data = utf8(values[i], &size);
        if (data == NULL) {
            return PyErr_Occurred() ? -1 : 0;
        }
        if (memchr(data, i == WAIT ? ';' : '@', size) != NULL) {
            return 0;
        }
    }
    return is_sound_body(values[FIELDS]);
}

/* Gives a message of this module for what the pure codec returned, whose reference it takes. */
static PyObject *
adopted(State *state, PyObject *found)
{
    if (found == NULL || (PyObject *)Py_TYPE(found) != state->pure_message) {
        return found; /* an exception, or a native message */
    }
    PyObject *fields = PyObject_CallMethod(found, "fields", NULL);
    Py_DECREF(found);
    if (fields == NULL) {
        return NULL;
    }
    PyObject *message = NULL, *values[FIELDS + 1];
    for (int i = 0; i <= FIELDS; i++) {
        values[i] = PyTuple_GetItem(fields, i); /* borrowed */
        if (values[i] == NULL) {
            goto done;
        }
    }
    if (are_fields(values)) {
        message = message_of(state->message_type, values);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "a message has four str, two bool, and str or bytes");
    }
done:
    Py_DECREF(fields);
    return message;
}

static const char *const NAMES[] = {"wait",     "namespace", "room", "event",
                                    "is_error", "is_no_op",  "body", "_sound"};

/* Finds the place of a named argument, or -1. */
static int
place_of(PyObject *name)
{
    for (int i = 0; i <= FIELDS + 1; i++) {
        if (PyUnicode_CompareWithASCIIString(name, NAMES[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* Message(wait, namespace, room, event, is_error, is_no_op, body, _sound). */
static PyObject *
message_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    State *state = PyType_GetModuleState(type);
    if (state == NULL) {
        return NULL;
    }
    PyObject *empty = PyUnicode_FromString("");
    if (empty == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    PyObject *values[FIELDS + 2] = {empty,    empty,    empty, empty,
                                    Py_False, Py_False, empty, Py_False};
    Py_ssize_t count = PyTuple_Size(args);
    int is_ordinary = count <= FIELDS + 2;
    for (Py_ssize_t i = 0; is_ordinary && i < count; i++) {
        values[i] = PyTuple_GetItem(args, i); /* borrowed, as all here */
    }
    if (named != NULL) {
        PyObject *name, *value;
        Py_ssize_t position = 0;
        while (is_ordinary && PyDict_Next(named, &position, &name, &value)) {
            int place = place_of(name);
            is_ordinary = place >= count; /* else unknown, or given twice */
            if (is_ordinary) {
                values[place] = value;
            }
        }
    }
    if (is_ordinary && values[FIELDS + 1] == Py_True) {
        is_ordinary = are_fields(values);
    }
    else if (is_ordinary) {
        is_ordinary = values[FIELDS + 1] == Py_False ? are_sound(values) : 0;
    }
    if (is_ordinary > 0) {
        result = message_of((PyObject *)type, values);
    }
    else if (is_ordinary == 0) {
        result = adopted(state, PyObject_Call(state->pure_message, args, named));
    }
    Py_DECREF(empty);
    return result;
}

/* reply(body): a body of the message's own type is taken as it is. */
static PyObject *
message_reply(PyObject *self, PyObject *args, PyObject *named)
{
    Message *message = (Message *)self;
    State *state = PyType_GetModuleState(Py_TYPE(self));
    if (state == NULL) {
        return NULL;
    }
    PyObject *body = named == NULL && PyTuple_Size(args) == 1 ? PyTuple_GetItem(args, 0) : NULL;
    if (body != NULL && Py_TYPE(body) == Py_TYPE(message->body)) {
        int is_sound = is_sound_body(body);
        if (is_sound < 0) {
            return NULL;
        }
        if (is_sound) {
            PyObject *values[FIELDS + 1];
            memcpy(values, message->fields, sizeof(message->fields));
            values[IS_ERROR] = Py_False;
            values[FIELDS] = body;
            return message_of(state->message_type, values);
        }
    }
    PyObject *method = PyObject_GetAttrString(state->pure_message, "reply"), *result = NULL;
    PyObject *itself = method == NULL ? NULL : PyTuple_Pack(1, self);
    PyObject *all = itself == NULL ? NULL : PySequence_Concat(itself, args);
    if (all != NULL) {
        result = PyObject_Call(method, all, named);
    }
    Py_XDECREF(method);
    Py_XDECREF(itself);
    Py_XDECREF(all);
    return result;
}

#define FIELD(name, place) \
    {name, T_OBJECT_EX, offsetof(Message, fields) + (place) * sizeof(PyObject *), READONLY, NULL}

static PyMemberDef message_members[] = {
    FIELD("wait", WAIT),         FIELD("namespace", NAMESPACE), FIELD("room", ROOM),
    FIELD("event", EVENT),       FIELD("is_error", IS_ERROR),   FIELD("is_no_op", IS_NO_OP),
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef message_getset[] = {
    {"body", message_body, NULL, NULL, NULL},
    {"is_binary", message_is_binary, NULL, NULL, NULL},
    {"is_empty_reply", message_is_empty_reply, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef message_methods[] = {
    {"fields", message_fields, METH_NOARGS, NULL},
    {"reply", (PyCFunction)(void (*)(void))message_reply, METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot message_slots[] = {
    {Py_tp_new, message_new},         {Py_tp_dealloc, message_dealloc},
    {Py_tp_members, message_members}, {Py_tp_getset, message_getset},
    {Py_tp_methods, message_methods}, {0, NULL},
};

/* The name is that of the pure class, so that pickles of one build are read by the other. */
static PyType_Spec message_spec = {
    .name = "neffos_codec.Message",
    .basicsize = sizeof(Message),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = message_slots,
};

/* ---- Calls ---- */

/* Calls the pure codec with the arguments that were given. */
static PyObject *
by_pure(PyObject *function, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *result = NULL, *named = NULL, *given = PyTuple_New(count);
    if (given == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyTuple_SetItem(given, i, Py_NewRef(args[i]));
    }
    if (names != NULL) {
        named = PyDict_New();
        if (named == NULL) {
            goto done;
        }
        for (Py_ssize_t i = 0; i < PyTuple_Size(names); i++) {
            if (PyDict_SetItem(named, PyTuple_GetItem(names, i), args[count + i]) < 0) {
                goto done;
            }
        }
    }
    result = PyObject_Call(function, given, named);
done:
    Py_DECREF(given);
    Py_XDECREF(named);
    return result;
}

/* Reads one limit: 1, or 0 if it is no number of this size. */
static int
read_limit(PyObject *limits, const char *name, Py_ssize_t *most)
{
    PyObject *value = PyObject_GetAttrString(limits, name);
    *most = PY_SSIZE_T_MAX;
    if (value != NULL && value != Py_None) {
        *most = PyLong_AsSsize_t(value);
    }
    Py_XDECREF(value);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return 1;
}

/* Makes the state's limits these: 1, or 0 if they are left to the pure codec. */
static int
use_limits(State *state, PyObject *limits)
{
    if (limits == state->limits) {
        return 1;
    }
    Py_ssize_t most = PY_SSIZE_T_MAX, most_in_field = PY_SSIZE_T_MAX;
    if (limits != Py_None && ((PyObject *)Py_TYPE(limits) != state->limits_type ||
                              !read_limit(limits, "payload", &most) ||
                              !read_limit(limits, "field", &most_in_field))) {
        return 0;
    }
    PyObject *before = state->limits;
    state->most = most;
    state->most_in_field = most_in_field;
    state->limits = Py_NewRef(limits);
    Py_XDECREF(before);
    return 1;
}

/* ---- Decoding ---- */

/* Sets a flag from the field between two separators: 1, or 0 if strict decoding refuses it. */
static int
set_flag(PyObject **flag, Py_ssize_t size, Py_UCS4 first)
{
    *flag = Py_NewRef(size == 1 && first == '1' ? Py_True : Py_False);
    return size == 1 && (first == '0' || first == '1');
}

/* Gives a field without its escapes (FR-3): a new reference, or NULL with an exception. */
static PyObject *
unescaped(State *state, PyObject *field)
{
    char buffer[SHORT], *to = buffer;
    Py_ssize_t size;
    const char *data = PyUnicode_GetLength(field) <= SHORT ? utf8(field, &size) : NULL, *found;
    if (data == NULL || size > SHORT) { /* long, or with surrogates */
        return PyErr_Occurred() ? NULL
                                : PyUnicode_Replace(field, state->escape, state->semicolon, -1);
    }
    const char *end = data + size;
    while ((found = memchr(data, '@', end - data)) != NULL) {
        int is_escape = (size_t)(end - found) >= ESCAPE_SIZE && !memcmp(found, ESCAPE, ESCAPE_SIZE);
        memcpy(to, data, found - data);
        to += found - data;
        *to++ = is_escape ? ';' : '@';
        data = found + (is_escape ? ESCAPE_SIZE : 1);
    }
    if (to == buffer) {
        return Py_NewRef(field);
    }
    memcpy(to, data, end - data);
    return PyUnicode_DecodeUTF8(buffer, to + (end - data) - buffer, NULL);
}

/* Unescapes namespace, room and event: 0, or -1 with an exception. */
static int
unescape(State *state, Message *message)
{
    for (int i = NAMESPACE; i <= EVENT; i++) {
        PyObject *before = message->fields[i], *field = unescaped(state, before);
        if (field == NULL) {
            return -1;
        }
        message->fields[i] = field;
        Py_DECREF(before);
    }
    return 0;
}

/* Tells whether flags that are not "0" or "1" are those of the short empty reply (FR-13). */
static int
is_short_reply(const Py_ssize_t *at, Py_ssize_t length)
{
    return at[0] > 0 && at[SEPARATORS - 1] == at[0] + SEPARATORS - 1 && length == at[0] + SEPARATORS;
}

static PyObject *
decode_text(State *state, PyObject *payload, int is_strict)
{
    Py_ssize_t length = PyUnicode_GetLength(payload), at[SEPARATORS], start = 0;
    if (length > state->most) {
        return NULL;
    }
    if (is_strict) { /* a surrogate is refused, and only text that is not ASCII can have one */
        if (is_ascii(payload) <= 0) {
            return NULL;
        }
    }
    for (int i = 0; i < SEPARATORS; i++) {
        Py_ssize_t end = length;
        if (state->most_in_field < length - start) {
            end = start + state->most_in_field + 1;
        }
        at[i] = PyUnicode_FindChar(payload, ';', start, end, 1);
        if (at[i] < 0) {
            return NULL;
        }
        start = at[i] + 1;
    }
    Message *message = new_message(state->message_type);
    if (message == NULL) {
        return NULL;
    }
    Py_ssize_t from = 0;
    for (int i = WAIT; i <= EVENT; i++) {
        message->fields[i] = PyUnicode_Substring(payload, from, at[i]);
        if (message->fields[i] == NULL) {
            goto failed;
        }
        from = at[i] + 1;
    }
    int are_flags = 1;
    for (int i = IS_ERROR; i <= IS_NO_OP; i++) {
        Py_ssize_t size = at[i] - at[i - 1] - 1;
        Py_UCS4 first = size == 1 ? PyUnicode_ReadChar(payload, at[i - 1] + 1) : 0;
        are_flags &= set_flag(&message->fields[i], size, first);
    }
    if (length <= EAGER) {
        message->body = PyUnicode_Substring(payload, start, length);
        if (message->body == NULL) {
            goto failed;
        }
    }
    else {
        message->body = Py_NewRef(payload);
        message->start = start;
    }
    if (is_strict && !are_flags && !is_short_reply(at, length)) {
        goto failed;
    }
    if (PyUnicode_FindChar(payload, '@', at[0], at[3], 1) >= 0 && unescape(state, message) < 0) {
        goto failed;
    }
    return (PyObject *)message;
failed:
    Py_DECREF(message);
    return NULL;
}

/* Reads a binary payload; "owner" is the bytes object that the data is in, or NULL for a buffer
 * that may change later, of which the body is copied now. */
static PyObject *
decode_bytes(State *state, PyObject *owner, const char *data, Py_ssize_t length, int is_strict)
{
    Py_ssize_t at[SEPARATORS], start = 0;
    if (length > state->most) {
        return NULL;
    }
    for (int i = 0; i < SEPARATORS; i++) {
        Py_ssize_t left = length - start;
        if (state->most_in_field < left) {
            left = state->most_in_field + 1;
        }
        const char *found = left ? memchr(data + start, ';', left) : NULL;
        if (found == NULL) {
            return NULL;
        }
        at[i] = found - data;
        start = at[i] + 1;
    }
    Message *message = new_message(state->message_type);
    if (message == NULL) {
        return NULL;
    }
    const char *errors = is_strict ? "strict" : "surrogateescape";
    Py_ssize_t from = 0;
    for (int i = WAIT; i <= EVENT; i++) {
        message->fields[i] = PyUnicode_DecodeUTF8(data + from, at[i] - from, errors);
        if (message->fields[i] == NULL) {
            if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
                PyErr_Clear(); /* the pure codec says where */
            }
            goto failed;
        }
        from = at[i] + 1;
    }
    int are_flags = 1;
    for (int i = IS_ERROR; i <= IS_NO_OP; i++) {
        Py_ssize_t size = at[i] - at[i - 1] - 1;
        are_flags &= set_flag(&message->fields[i], size, (unsigned char)data[at[i - 1] + 1]);
    }
    if (owner == NULL || length <= EAGER) {
        message->body = PyBytes_FromStringAndSize(data + start, length - start);
        if (message->body == NULL) {
            goto failed;
        }
    }
    else {
        message->body = Py_NewRef(owner);
        message->start = start;
    }
    if (is_strict && !are_flags && !is_short_reply(at, length)) {
        goto failed;
    }
    if (memchr(data + at[0], '@', at[3] - at[0]) != NULL && unescape(state, message) < 0) {
        goto failed;
    }
    return (PyObject *)message;
failed:
    Py_DECREF(message);
    return NULL;
}

/* Reads a payload of an ordinary type. */
static PyObject *
decode_payload(State *state, PyObject *payload, int is_strict)
{
    if (PyUnicode_CheckExact(payload)) {
        return decode_text(state, payload, is_strict);
    }
    if (PyBytes_CheckExact(payload)) {
        return decode_bytes(state, payload, PyBytes_AsString(payload), PyBytes_Size(payload),
                            is_strict);
    }
    /* A subclass may do anything in its methods. */
    if (Py_IS_TYPE(payload, &PyByteArray_Type) || Py_IS_TYPE(payload, &PyMemoryView_Type)) {
        Py_buffer view;
        if (PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE) < 0) {
            PyErr_Clear(); /* released, or with gaps */
            return NULL;
        }
        PyObject *message = decode_bytes(state, NULL, view.buf, view.len, is_strict);
        PyBuffer_Release(&view);
        return message;
    }
    return NULL;
}

/* Gives the value of a named argument if the name is this. */
static int
is_named(PyObject *names, Py_ssize_t i, const char *name)
{
    return PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, i), name) == 0;
}

static PyObject *
decode(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *state = PyModule_GetState(module);
    PyObject *decoding = state->lenient, *native = state->never, *limits = Py_None;
    int is_ordinary = count == 1;
    for (Py_ssize_t i = 0, end = names == NULL ? 0 : PyTuple_Size(names); i < end; i++) {
        PyObject *value = args[count + i];
        if (is_named(names, i, "native")) {
            native = value;
        }
        else if (is_named(names, i, "decoding")) {
            decoding = value;
        }
        else if (is_named(names, i, "limits")) {
            limits = value;
        }
        else {
            is_ordinary = 0;
        }
    }
    if (is_ordinary && (decoding == state->lenient || decoding == state->strict) &&
        (native == state->never || native == state->fallback) && use_limits(state, limits)) {
        PyObject *message = decode_payload(state, args[0], decoding == state->strict);
        if (message != NULL || PyErr_Occurred()) {
            return message;
        }
    }
    return adopted(state, by_pure(state->pure_decode, args, count, names));
}

/* ---- Encoding ---- */

/* Writes namespace, room or event with its escapes, and a separator. */
static char *
write_field(char *to, const char *field, Py_ssize_t size)
{
    const char *end = field + size, *found;
    while ((found = memchr(field, ';', end - field)) != NULL) {
        memcpy(to, field, found - field);
        to += found - field;
        memcpy(to, ESCAPE, ESCAPE_SIZE);
        to += ESCAPE_SIZE;
        field = found + 1;
    }
    memcpy(to, field, end - field);
    to += end - field;
    *to++ = ';';
    return to;
}

/* Writes what is before the body; gives the end, or NULL if a field is not ordinary. */
static char *
write_head(Message *message, char *to)
{
    Py_ssize_t size;
    const char *field;
    for (int i = WAIT; i <= EVENT; i++) {
        PyObject *text = message->fields[i];
        if (PyUnicode_GetLength(text) > (i == WAIT ? SHORT : LONGEST_FIELD)) {
            return NULL;
        }
        field = utf8(text, &size);
        if (field == NULL) {
            return NULL;
        }
        if (i == WAIT) { /* never escaped (FR-5) */
            memcpy(to, field, size);
            to += size;
            *to++ = ';';
        }
        else {
            to = write_field(to, field, size);
        }
    }
    if (is_empty_reply(message)) {
        *to++ = ';';
        *to++ = ';';
        return to;
    }
    *to++ = message->fields[IS_ERROR] == Py_True ? '1' : '0';
    *to++ = ';';
    *to++ = message->fields[IS_NO_OP] == Py_True ? '1' : '0';
    *to++ = ';';
    return to;
}

static PyObject *
encode_message(Message *message)
{
    char buffer[BUFFER], *end = write_head(message, buffer);
    if (end == NULL) {
        return NULL;
    }
    PyObject *body = message_body((PyObject *)message, NULL), *payload = NULL;
    if (body == NULL) {
        return NULL;
    }
    Py_ssize_t size, head = end - buffer;
    if (!PyUnicode_Check(body)) {
        size = PyBytes_Size(body);
        payload = PyBytes_FromStringAndSize(NULL, head + size);
        if (payload != NULL) {
            char *to = PyBytes_AsString(payload);
            memcpy(to, buffer, head);
            memcpy(to + head, PyBytes_AsString(body), size);
        }
    }
    else if (PyUnicode_GetLength(body) <= SHORT) {
        const char *data = utf8(body, &size);
        if (data != NULL) {
            memcpy(end, data, size);
            payload = PyUnicode_DecodeUTF8(buffer, head + size, NULL);
        }
    }
    else { /* which copies the body once, and keeps no other form of it */
        PyObject *text = PyUnicode_DecodeUTF8(buffer, head, NULL);
        if (text != NULL) {
            payload = PyUnicode_Concat(text, body);
            Py_DECREF(text);
        }
    }
    Py_DECREF(body);
    return payload;
}

/* Encodes by the pure codec: a message of this module is given to it as one of its own. */
static PyObject *
encode_by_pure(State *state, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    if (count != 1 || (PyObject *)Py_TYPE(args[0]) != state->message_type) {
        return by_pure(state->pure_encode, args, count, names);
    }
    PyObject *fields = message_fields(args[0], NULL);
    if (fields == NULL) {
        return NULL;
    }
    PyObject *all[FIELDS + 2];
    for (int i = 0; i <= FIELDS; i++) {
        all[i] = PyTuple_GetItem(fields, i);
    }
    all[FIELDS + 1] = Py_True;
    PyObject *message = by_pure(state->pure_message, all, FIELDS + 2, NULL);
    Py_DECREF(fields);
    if (message == NULL) {
        return NULL;
    }
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    PyObject *result = NULL, **given = PyMem_Malloc((1 + named) * sizeof(PyObject *));
    if (given == NULL) {
        PyErr_NoMemory();
    }
    else {
        given[0] = message;
        memcpy(given + 1, args + 1, named * sizeof(PyObject *));
        result = by_pure(state->pure_encode, given, 1, names);
        PyMem_Free(given);
    }
    Py_DECREF(message);
    return result;
}

static PyObject *
encode(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *state = PyModule_GetState(module);
    PyObject *native = state->never;
    int is_ordinary = count == 1 && (PyObject *)Py_TYPE(args[0]) == state->message_type;
    for (Py_ssize_t i = 0, end = names == NULL ? 0 : PyTuple_Size(names); i < end; i++) {
        native = args[count + i];
        is_ordinary &= is_named(names, i, "native");
    }
    if (is_ordinary && (native == state->never || native == state->fallback)) {
        PyObject *payload = encode_message((Message *)args[0]);
        if (payload != NULL || PyErr_Occurred()) {
            return payload;
        }
    }
    return encode_by_pure(state, args, count, names);
}

/* ---- The module ---- */

/* Gives something that a module of the package has: a new reference, or NULL with an exception. */
static PyObject *
import_from(const char *name, const char *what)
{
    PyObject *module = PyImport_ImportModule(name), *found = NULL;
    if (module != NULL) {
        found = PyObject_GetAttrString(module, what);
        Py_DECREF(module);
    }
    return found;
}

/* What a message has from the pure one: all that is not worth being written again. */
static const char *const SHARED[] = {
    "__doc__",  "__eq__",      "__hash__",    "__match_args__", "__reduce__", "__repr__",
    "_answer", "empty_reply", "error_reply", "replace",        NULL,
};

/* Creates the type: 0, or -1 with an exception. */
static int
make_type(PyObject *module, State *state)
{
    state->message_type = PyType_FromModuleAndSpec(module, &message_spec, NULL);
    for (int i = 0; state->message_type != NULL && SHARED[i] != NULL; i++) {
        PyObject *value = PyObject_GetAttrString(state->pure_message, SHARED[i]);
        if (value == NULL || PyObject_SetAttrString(state->message_type, SHARED[i], value) < 0) {
            Py_CLEAR(state->message_type);
        }
        Py_XDECREF(value);
    }
    return state->message_type == NULL
               ? -1
               : PyModule_AddObjectRef(module, "Message", state->message_type);
}

static int
module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    PyObject *decodings = import_from("neffos_codec._options", "Decoding");
    PyObject *natives = import_from("neffos_codec._options", "Native");
    int result = -1;
    if (decodings == NULL || natives == NULL ||
        (state->lenient = PyObject_GetAttrString(decodings, "LENIENT")) == NULL ||
        (state->strict = PyObject_GetAttrString(decodings, "STRICT")) == NULL ||
        (state->never = PyObject_GetAttrString(natives, "NEVER")) == NULL ||
        (state->fallback = PyObject_GetAttrString(natives, "FALLBACK")) == NULL ||
        (state->pure_message = import_from("neffos_codec._message", "Message")) == NULL ||
        (state->pure_decode = import_from("neffos_codec._decode", "decode")) == NULL ||
        (state->pure_encode = import_from("neffos_codec._encode", "encode")) == NULL ||
        (state->limits_type = import_from("neffos_codec._limits", "FrameLimits")) == NULL ||
        (state->escape = PyUnicode_FromString(ESCAPE)) == NULL ||
        (state->semicolon = PyUnicode_FromString(";")) == NULL || !use_limits(state, Py_None)) {
        goto done;
    }
    result = make_type(module, state);
done:
    Py_XDECREF(decodings);
    Py_XDECREF(natives);
    return result;
}

PyDoc_STRVAR(decode_doc, "Read one WebSocket message: decode(payload, *, decoding, native, limits).");
PyDoc_STRVAR(encode_doc, "Write one WebSocket message: encode(message, *, native).");

static PyMethodDef module_methods[] = {
    {"decode", (PyCFunction)(void (*)(void))decode, METH_FASTCALL | METH_KEYWORDS, decode_doc},
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL | METH_KEYWORDS, encode_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "neffos_codec._compiled",
    .m_size = sizeof(State),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = state_traverse,
    .m_clear = state_clear,
    .m_free = state_free,
};

PyMODINIT_FUNC
PyInit__compiled(void)
{
    return PyModuleDef_Init(&module_definition);
}
