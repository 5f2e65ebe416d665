/** Names under which programs read a file as a pickle. */
export const pickleExtensions: ReadonlySet<string> = new Set(['bin', 'pt', 'pth', 'ckpt', 'pkl', 'pickle', 'joblib', 'dat', 'data', 'pck', 'dill', 'debug_pkl']);
/** Names under which they run it. */
export const codeExtensions: ReadonlySet<string> = new Set(['py', 'pyc', 'pyd', 'pyw', 'so', 'dll', 'dylib', 'exe', 'sh', 'bash', 'bat', 'cmd', 'ps1', 'js', 'mjs', 'ipynb', 'jar', 'class', 'wasm', 'lua', 'rb', 'pl']);
export const textExtensions: ReadonlySet<string> = new Set(['json', 'jsonl', 'txt', 'md', 'jinja', 'jinja2', 'tiktoken', '']);
