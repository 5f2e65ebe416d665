/** Longest text that is looked at as a credential; an operator's own key may be longer than ours. */
export const credentialLengthMax = 256;
const lengthMin = 16;
/** What survives every header and environment file: printable ASCII without spaces. */
const pattern = /^[\x21-\x7e]+$/;

/** Whether an operator may set `text` as the first admin key although it has not our form. */
export function isOperatorKey(text: string): boolean {
  return text.length >= lengthMin && text.length <= credentialLengthMax && pattern.test(text);
}
