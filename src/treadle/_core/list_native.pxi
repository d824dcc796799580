# list_native.pxi: the native side of shared lists, as Cython must know it.

cdef extern from "list_ops.hpp" namespace "treadle::core" nogil:
    cdef enum:
        KIND_LIST "static_cast<int>(treadle::arena::Kind::list)"
        LARGEST_IN_CELL "treadle::map::kLargestInCell"
    ctypedef uint64_t Cell "treadle::map::Cell"

    cppclass ListItem:
        Cell plain
        MapPart part
    struct ListFound "treadle::map::FoundItem":
        Cell cell
        uint64_t value
        uint32_t bytes
        uint32_t slot
    enum ListConditionKind "treadle::map::ListCondition::Kind":
        LIST_SAME "treadle::map::ListCondition::same"
        LIST_UNCHANGED "treadle::map::ListCondition::unchanged"
    cppclass ListCondition:
        ListCondition()
        ListConditionKind kind
        Cell cell
        uint64_t value
        uint64_t version
    struct ListSlice "treadle::map::Slice":
        int64_t start
        int64_t stop
        int64_t step
    struct ListBasket "treadle::map::ItemBasket":
        char* data
        uint64_t items
        uint64_t version
        uint64_t first
    struct CopyHead "treadle::map::CopiedItem":
        uint64_t value
        uint32_t bytes
        uint32_t slot
    struct ListCopy:
        Cell cell
        CopyHead head
        const char* bytes
    struct ListFigures "treadle::map::ListFigures":
        uint64_t length
        uint64_t capacity
        uint64_t bytes
        uint64_t memory
        uint64_t large
        uint32_t mended

    bint make_list(Mapping*, Token, const char*, Handle&)
    const char* list_label(const Handle&)
    int list_find(const Handle&, Token, int64_t, char*, ListFound*)
    int list_replace(const Handle&, Token, const ListSlice&, const ListItem*, uint64_t, uint64_t*)
    int list_append(const Handle&, Token, const ListItem&)
    int list_remove(const Handle&, Token, const ListSlice&, const ListCondition&)
    int list_set(const Handle&, Token, int64_t, const ListItem*, const ListCondition&)
    int list_pop(const Handle&, Token, int64_t, char, char*, ListFound*)
    int list_add(const Handle&, Token, int64_t, const MapNumber&, bint, Cell*)
    int list_arrange(const Handle&, Token, const uint64_t*, const ListCondition&)
    int list_count(const Handle&, Token, uint64_t*)
    ListFigures list_figures(const Handle&)
    const char* read_copy(const char*, ListCopy*)
    void drop_copies(const Handle&, ListBasket&, const char*, uint64_t)
    int list_copy(const Handle&, Token, const ListSlice&, ListBasket*)
    void message_of_item(const Handle&, uint64_t, uint32_t, MessageHold*, uint64_t*)
    Cell cell_of_integer(int64_t)
    Cell cell_of_real(double)
    Cell cell_of_bytes(const char*, uint32_t)
    int64_t integer_in "treadle::map::integer_in"(Cell)
    double real_in "treadle::map::real_in"(Cell)
    uint32_t bytes_in "treadle::map::bytes_in"(Cell, char*)
    bint is_plain "treadle::map::is_plain"(Cell)
    void list_pass(const Handle&)

cdef extern from "Python.h":
    int PySlice_Unpack(object, Py_ssize_t*, Py_ssize_t*, Py_ssize_t*) except -1
    bint PySlice_Check(object)
    Py_ssize_t PyNumber_AsSsize_t(object, PyObject*) except? -1
    PyObject* PyExc_IndexError
    PyObject* PyExc_OverflowError
    object PyObject_RichCompare(object, object, int)
