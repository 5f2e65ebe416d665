/** Named as the usual library names weights: where there are such, others in the same folder are the same ones once more. */
export function isUsualWeights(name: string): boolean {
  return /^model[-.]/.test(name);
}
