/**
 * The first byte of every encoded value. The numbers are the format: a change of meaning needs a new
 * `FORMAT_VERSION`. README.md describes what follows each tag.
 */

export const FORMAT_VERSION = 1

/** Header flag: the message ends with a list of modules that must be loaded before it is decoded. */
export const FLAG_MODULES = 1
/** Header flag: the message refers back to objects, so the reader must number them. */
export const FLAG_REFERENCES = 2
/** Header flag: the contents of objects that lie too deep for the stack follow the root. */
export const FLAG_DEFERRED = 4
/** A reducer of the user's, or memory that both sides share, is needed to read it. */
export const FLAG_REDUCED = 8
export const FLAGS_ALL = FLAG_MODULES | FLAG_REFERENCES | FLAG_DEFERRED | FLAG_REDUCED
export const HEADER_BYTES = 2

export const NULL = 0
export const TRUE = 1
export const FALSE = 2
export const UNDEFINED = 3
export const HOLE = 4
export const INT32 = 5
export const FLOAT64 = 6
export const BIGINT = 7
export const STRING_LATIN1 = 8
export const STRING_UTF16 = 9
export const SYMBOL_REGISTERED = 10
export const SYMBOL_WELL_KNOWN = 11

export const REFERENCE = 12
export const ATTACHMENT = 13
export const GRAPH = 14
export const REDUCED = 15

export const ARRAY = 16
export const ARRAY_SPARSE = 17
export const OBJECT = 18
export const OBJECT_NULL = 19
export const INSTANCE = 20
/** A built-in object whose prototype is that of a class. */
export const REPROTOTYPED = 21
/** Any object, followed by properties that its own encoding does not carry. */
export const EXTRA_PROPERTIES = 22
export const DEFERRED = 23

export const MAP = 24
export const SET = 25
export const DATE = 26
export const REGEXP = 27
export const BOXED = 28
export const ERROR = 29
export const DOM_EXCEPTION = 30

export const ARRAY_BUFFER = 32
export const ARRAY_BUFFER_RESIZABLE = 33
export const BUFFER = 34
export const TYPED_ARRAY = 35
export const VIEW = 36

export const URL_VALUE = 37
export const URL_SEARCH_PARAMS = 38
export const TEXT_ENCODER = 39
export const TEXT_DECODER = 40
/** A buffer over memory that both sides have. */
export const SHARED_BUFFER = 41

export const SHARED_SEGMENT = 0
export const SHARED_THREAD = 1
export const SHARED_NAMED = 2

/** In the place of a count of bytes: they travel beside the message. No count begins so. */
export const BESIDE = 0xff

/** An array whose elements are packed as one column. */
export const COLUMN = 48

export const COLUMN_GENERIC = 0
export const COLUMN_INT8 = 1
export const COLUMN_UINT8 = 2
export const COLUMN_INT16 = 3
export const COLUMN_UINT16 = 4
export const COLUMN_INT32 = 5
export const COLUMN_FLOAT64 = 6
export const COLUMN_STRINGS_LATIN1 = 7
export const COLUMN_STRINGS_UTF16 = 8
export const COLUMN_RECORDS = 9
export const COLUMN_TUPLES = 10
export const COLUMN_BOOLEANS = 11
export const COLUMN_DICTIONARY = 12
export const COLUMN_DELTAS = 13

/** Short strings of Latin-1: the tag holds the length, 0 to 63. */
export const SHORT_STRING = 64
export const SHORT_STRING_MAX = 63

/** Integers from 0 to 127 are their own tag. */
export const SMALL_INT = 128
