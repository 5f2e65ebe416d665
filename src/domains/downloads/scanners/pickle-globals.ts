/**
 * What a pickle may import: makers of tensors, arrays and plain containers. A list of what is allowed, because lists of
 * what is dangerous were got round every time. Names are compared as a whole: `OrderedDict.__init__` is another name.
 */
const storages = ['Bool', 'Byte', 'Char', 'Short', 'Int', 'Long', 'Half', 'Float', 'Double', 'BFloat16', 'ComplexFloat', 'ComplexDouble', 'QInt8', 'QInt32', 'QUInt8', 'QUInt4x2', 'QUInt2x4'].map((name) => `${name}Storage`);
const dtypes = [
  'float16', 'float32', 'float64', 'bfloat16', 'half', 'float', 'double', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64', 'bool', 'complex32', 'complex64', 'complex128',
  'qint8', 'qint32', 'quint8', 'float8_e4m3fn', 'float8_e5m2', 'float8_e4m3fnuz', 'float8_e5m2fnuz',
];
const containers = ['set', 'frozenset', 'bytearray', 'bytes', 'complex', 'dict', 'list', 'tuple', 'int', 'float', 'bool', 'str', 'object', 'slice', 'range'];
const arrays = ['_reconstruct'];

const allowed: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  Object.entries({
    builtins: containers,
    __builtin__: [...containers, 'unicode', 'long'],
    collections: ['OrderedDict', 'defaultdict', 'Counter', 'deque'],
    copyreg: ['_reconstructor'],
    copy_reg: ['_reconstructor'],
    _codecs: ['encode'],
    torch: [...storages, ...dtypes, 'Size', 'device', 'Tensor'],
    'torch.cuda': storages,
    'torch.storage': ['UntypedStorage', 'TypedStorage'],
    'torch.nn.parameter': ['Parameter'],
    'torch.serialization': ['_get_layout'],
    'torch._utils': ['_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_tensor_v3', '_rebuild_parameter', '_rebuild_parameter_with_state', '_rebuild_qtensor', '_rebuild_sparse_tensor', '_rebuild_meta_tensor_no_storage'],
    numpy: ['dtype', 'ndarray'],
    'numpy.core.multiarray': arrays,
    'numpy._core.multiarray': arrays,
  }).map(([module, names]) => [module, new Set(names)]),
);

export function isAllowedGlobal(module: string, name: string): boolean {
  return allowed.get(module)?.has(name) ?? false;
}
