/** The media types of an `Accept` header that can be had in UTF-8, in lower case and without parameters. */
export function acceptedTypes(header: string): readonly string[] {
  return header
    .toLowerCase()
    .split(',')
    .map((range) => range.split(';').map((part) => part.trim()))
    .filter(([, ...parameters]) => parameters.every((parameter) => !parameter.startsWith('charset=') || parameter === 'charset=utf-8'))
    .map(([type = '']) => type);
}
