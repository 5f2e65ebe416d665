/** Pickles put together by hand, opcode by opcode: nothing here ever makes an object of one. */

const bytes = (...values: readonly number[]): Buffer => Buffer.from(values);
const line = (text: string): Buffer => Buffer.from(`${text}\n`, 'utf8');

function sized(code: number, lengthBytes: number, data: Buffer): Buffer {
  const length = Buffer.alloc(lengthBytes);
  length.writeUIntLE(data.length, 0, Math.min(6, lengthBytes));
  return Buffer.concat([bytes(code), length, data]);
}

/** One function for each opcode that the tests need; the names are those of `pickletools`. */
export const op = {
  proto: (version: number) => bytes(0x80, version),
  stop: bytes(0x2e),
  mark: bytes(0x28),
  global: (module: string, name: string) => Buffer.concat([bytes(0x63), line(module), line(name)]),
  inst: (module: string, name: string) => Buffer.concat([bytes(0x69), line(module), line(name)]),
  obj: bytes(0x6f),
  reduce: bytes(0x52),
  newobj: bytes(0x81),
  newobjEx: bytes(0x92),
  build: bytes(0x62),
  stackGlobal: bytes(0x93),
  ext1: (code: number) => bytes(0x82, code),
  tuple: bytes(0x74),
  tuple1: bytes(0x85),
  emptyTuple: bytes(0x29),
  emptyDict: bytes(0x7d),
  emptyList: bytes(0x5d),
  setItems: bytes(0x75),
  appends: bytes(0x65),
  pop: bytes(0x30),
  popMark: bytes(0x31),
  none: bytes(0x4e),
  string: (text: string) => line(`S'${text}'`),
  unicode: (text: string) => line(`V${text}`),
  binUnicode: (text: string) => sized(0x58, 4, Buffer.from(text, 'utf8')),
  shortBinUnicode: (text: string) => sized(0x8c, 1, Buffer.from(text, 'utf8')),
  binUnicode8: (text: string) => sized(0x8d, 8, Buffer.from(text, 'utf8')),
  shortBinString: (text: string) => sized(0x55, 1, Buffer.from(text, 'latin1')),
  binInt1: (value: number) => bytes(0x4b, value),
  int: (text: string) => line(`I${text}`),
  binPut: (key: number) => bytes(0x71, key),
  binGet: (key: number) => bytes(0x68, key),
  put: (key: string) => line(`p${key}`),
  get: (key: string) => line(`g${key}`),
  memoize: bytes(0x94),
  frame: (length: number) => sized(0x95, 8, Buffer.alloc(0)).fill(length, 1, 2),
  persistentId: (text: string) => line(`P${text}`),
  binPersistentId: bytes(0x51),
} as const;

const join = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts);

export type Import = { module: string; name: string };

/** The ways in which a pickle can come to call what it imports. */
export const forms: Readonly<Record<string, (target: Import) => Buffer>> = {
  'protocol 0, GLOBAL and REDUCE': ({ module, name }) => join(op.global(module, name), op.mark, op.string('echo harm'), op.tuple, op.reduce, op.stop),
  'protocol 0, INST': ({ module, name }) => join(op.mark, op.string('echo harm'), op.inst(module, name), op.stop),
  'protocol 1, OBJ': ({ module, name }) => join(op.mark, op.global(module, name), op.shortBinString('echo harm'), op.obj, op.stop),
  'protocol 2, GLOBAL and REDUCE': ({ module, name }) => join(op.proto(2), op.global(module, name), op.binPut(0), op.binUnicode('echo harm'), op.tuple1, op.reduce, op.binPut(1), op.stop),
  'protocol 2, NEWOBJ': ({ module, name }) => join(op.proto(2), op.global(module, name), op.binUnicode('echo harm'), op.tuple1, op.newobj, op.stop),
  'protocol 4, STACK_GLOBAL': ({ module, name }) =>
    join(op.proto(4), op.frame(40), op.shortBinUnicode(module), op.memoize, op.shortBinUnicode(name), op.memoize, op.stackGlobal, op.memoize, op.shortBinUnicode('echo harm'), op.tuple1, op.reduce, op.stop),
  'protocol 4, NEWOBJ_EX': ({ module, name }) => join(op.proto(4), op.shortBinUnicode(module), op.shortBinUnicode(name), op.stackGlobal, op.emptyTuple, op.emptyDict, op.newobjEx, op.stop),
  'names from the memory': ({ module, name }) =>
    join(op.proto(4), op.binUnicode(module), op.binPut(7), op.pop, op.binUnicode8(name), op.put('8'), op.pop, op.binGet(7), op.get('8'), op.stackGlobal, op.emptyTuple, op.reduce, op.stop),
  'names of an older kind': ({ module, name }) => join(op.proto(4), op.string(module), op.unicode(name), op.stackGlobal, op.emptyTuple, op.reduce, op.stop),
  'an import without a call': ({ module, name }) => join(op.proto(2), op.global(module, name), op.stop),
  'a state for what was imported': ({ module, name }) => join(op.proto(2), op.global(module, name), op.emptyDict, op.build, op.stop),
  'a call that is thrown away': ({ module, name }) => join(op.proto(2), op.global(module, name), op.emptyTuple, op.reduce, op.pop, op.none, op.stop),
  'a call in an innocent dictionary': ({ module, name }) =>
    join(op.proto(2), op.global('collections', 'OrderedDict'), op.emptyTuple, op.reduce, op.mark, op.binUnicode('weight'), op.global(module, name), op.emptyTuple, op.reduce, op.setItems, op.stop),
  'a call and then no end': ({ module, name }) => join(op.proto(2), op.global(module, name), op.emptyTuple, op.reduce),
  'a call and then nonsense': ({ module, name }) => join(op.proto(2), op.global(module, name), op.emptyTuple, op.reduce, bytes(0xff, 0xfe)),
  'behind the end of a harmless one': ({ module, name }) => join(op.proto(2), op.none, op.stop, op.proto(2), op.global(module, name), op.emptyTuple, op.reduce, op.stop),
};

/** Ways to run something that were in files of attackers or got past lists of what is forbidden. */
export const dangerous: readonly Import[] = [
  'os system', 'posix system', 'nt system', 'os popen', 'os execl', 'subprocess Popen', 'subprocess check_output', 'builtins eval', 'builtins exec', 'builtins compile', 'builtins getattr', 'builtins __import__',
  'builtins open', 'builtins map', 'builtins apply', '__builtin__ eval', '__builtin__ file', 'sys modules', 'runpy run_path', 'runpy _run_code', 'pty spawn', 'socket create_connection', 'ctypes CDLL', 'pip main',
  'pip._internal main', 'pickle loads', '_pickle loads', 'torch load', 'torch.storage _load_from_bytes', 'torch.hub load', 'torch.jit._script unpackage_script_module', 'functools partial', 'operator attrgetter',
  'operator methodcaller', 'pkgutil resolve_name', 'importlib import_module', 'importlib.machinery SourceFileLoader', 'uuid _popen', 'imaplib IMAP4_stream', 'asyncio.unix_events _UnixSubprocessTransport', 'webbrowser open',
  'shutil rmtree', 'shutil move', 'timeit timeit', 'cProfile run', 'profile run', 'pdb run', 'bdb Bdb.run', 'doctest debug_script', 'code InteractiveInterpreter.runcode', 'codeop compile_command', 'trace Trace.runctx',
  'idlelib.pyshell ModifiedInterpreter.runcommand', 'lib2to3.pgen2.pgen ParserGenerator.make_label', 'ensurepip _run_pip', 'venv create', 'distutils.file_util write_file', 'numpy.testing._private.utils runstring',
  'numpy.f2py.crackfortran _eval_length', 'requests.api get', 'aiohttp.client ClientSession', 'http.client HTTPSConnection', 'httplib HTTPSConnection', 'urllib.request urlopen', 'ssl SSLContext', 'multiprocessing.util spawnv_passfds',
  'dill loads', 'cloudpickle loads', 'joblib load', 'yaml unsafe_load', 'marshal loads', 'types CodeType', 'types FunctionType', 'signal signal', 'gc get_objects', 'inspect getattr_static', 'logging.config listen',
  'collections OrderedDict.__init__.__globals__', 'collections namedtuple', 'collections.abc Callable', 'torch._utils _rebuild_tensor_v2.__globals__', 'torch FloatStorage.__reduce__', 'torch serialization.load', 'builtins.os system',
  'codecs encode', '_codecs decode', 'copyreg add_extension', 'copyreg pickle', 'numpy load', 'numpy fromfile', 'numpy.core.multiarray scalar', 'Collections OrderedDict', 'collections  OrderedDict',
].map((text) => {
  const [module = '', name = ''] = text.split(/ (.*)/s);
  return { module, name };
});

/** Opcodes that leave the stack as it was. */
export const padding: readonly Buffer[] = [
  join(op.none, op.pop), join(op.mark, op.popMark), join(op.emptyDict, op.pop), join(op.mark, op.none, op.none, op.popMark), join(op.binUnicode('os'), op.binPut(200), op.pop), join(op.int('7'), op.pop), op.proto(2), op.frame(0),
];

/** What `torch.save` writes for one small tensor, apart from the tensor's bytes. */
export function stateDict(tensors: readonly string[] = ['weight', 'bias']): Buffer {
  const tensor = (name: string, index: number): Buffer =>
    join(
      op.binUnicode(name), op.global('torch._utils', '_rebuild_tensor_v2'), op.mark, op.mark, op.binUnicode('storage'), op.global('torch', 'FloatStorage'), op.binUnicode(String(index)), op.binUnicode('cpu'), op.binInt1(6), op.tuple,
      op.binPersistentId, op.binInt1(0), op.mark, op.binInt1(2), op.binInt1(3), op.tuple, op.mark, op.binInt1(3), op.binInt1(1), op.tuple, bytes(0x89), op.global('collections', 'OrderedDict'), op.emptyTuple, op.reduce, op.tuple, op.reduce,
    );
  return join(op.proto(2), op.global('collections', 'OrderedDict'), op.binPut(0), op.emptyTuple, op.reduce, op.binPut(1), op.mark, ...tensors.map(tensor), op.setItems, op.stop);
}

/** The file that `torch.save` wrote before it made archives. */
export function oldTorchFile(object: Buffer): Buffer {
  const magic = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');
  const version = join(op.proto(2), bytes(0x4d, 0xe9, 0x03), op.stop);
  const system = join(op.proto(2), op.emptyDict, op.stop);
  const keys = join(op.proto(2), op.emptyList, op.mark, op.binUnicode('0'), op.appends, op.stop);
  return join(magic, version, system, object, keys, Buffer.alloc(32, 7));
}
