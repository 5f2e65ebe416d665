/** Bits of one element of each type that the format knows. */
export const dtypeBits: ReadonlyMap<unknown, bigint> = new Map<unknown, bigint>([
  ...['F64', 'I64', 'U64', 'C64'].map((name) => [name, 64n] as const),
  ...['F32', 'I32', 'U32'].map((name) => [name, 32n] as const),
  ...['F16', 'BF16', 'I16', 'U16'].map((name) => [name, 16n] as const),
  ...['BOOL', 'I8', 'U8', 'F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ'].map((name) => [name, 8n] as const),
  ...['F6_E2M3', 'F6_E3M2'].map((name) => [name, 6n] as const),
  ['F4', 4n],
]);
