/**
 * Runs in the page before GraphiQL. The header editor's key goes with fetch only; a browser's WebSocket takes no
 * headers, so the key is put into the first message instead, where the server looks for it.
 */
export const pageBridge = `
(() => {
  let authorization = null;
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (typeof data === 'string' && data.includes('"connection_init"')) {
      const message = JSON.parse(data);
      const key = authorization ?? keyOfEditor();
      if (message.type === 'connection_init' && key) data = JSON.stringify({ ...message, payload: { ...message.payload, authorization: key } });
    }
    return send.call(this, data);
  };
  const keyOfEditor = () => {
    for (const model of globalThis.monaco?.editor?.getModels?.() ?? []) {
      if (!String(model.uri).includes('header')) continue;
      try {
        const headers = JSON.parse(model.getValue());
        return headers.Authorization ?? headers.authorization ?? null;
      } catch {}
    }
    return null;
  };
  const ask = globalThis.fetch;
  globalThis.fetch = function (input, init) {
    const headers = new Headers(init?.headers);
    authorization = headers.get('authorization') ?? authorization;
    return ask.call(this, input, init);
  };
})();
`;
