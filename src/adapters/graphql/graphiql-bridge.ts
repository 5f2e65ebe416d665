/**
 * Runs in the page before GraphiQL. A key that was typed into one tab's headers serves the others too, where the
 * placeholder still stands, until the browser's tab is closed. A browser's WebSocket takes no headers, so there the
 * key goes into the first message, where the server looks for it. Tabs that nobody has edited open anew: GraphiQL
 * would restore them with an empty one in front.
 */
export const pageBridge = `
(() => {
  if (localStorage.getItem('graphiql:query') === null) localStorage.removeItem('graphiql:tabState');
  const name = 'llm-manager:authorization';
  const isReal = (value) => Boolean(value) && !value.includes('<');
  const remembered = () => sessionStorage.getItem(name);
  const keyFor = (given) => {
    if (!isReal(given)) return remembered();
    sessionStorage.setItem(name, given);
    return given;
  };
  const ask = globalThis.fetch;
  globalThis.fetch = (input, init = {}) => {
    const headers = new Headers(init.headers);
    const key = keyFor(headers.get('authorization'));
    if (key) headers.set('authorization', key);
    return ask(input, { ...init, headers });
  };
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (typeof data !== 'string' || !data.startsWith('{')) return send.call(this, data);
    const message = JSON.parse(data);
    if (message.type !== 'connection_init') return send.call(this, data);
    const given = message.payload?.headers?.Authorization ?? message.payload?.Authorization ?? null;
    return send.call(this, JSON.stringify({ ...message, payload: { authorization: keyFor(given) ?? '' } }));
  };
})();
`;
