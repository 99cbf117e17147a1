/** How proxies travel. Who meets one for the first time loads this module, and with it the classes of all proxies. */
import { addReducer } from '../serialize/reducers.ts'
import { BaseProxy, type Token, proxyFor, tokenToSend } from './base-proxy.ts'
import './built-in-types.ts'
import { ServerReference } from './server-reference.ts'

addReducer<BaseProxy>({
  type: BaseProxy,
  name: 'multiproc.BaseProxy',
  module: import.meta.url,
  encode: tokenToSend,
  decode: data => proxyFor(data as Token),
})

addReducer<ServerReference>({
  type: ServerReference,
  name: 'multiproc.ServerReference',
  module: import.meta.url,
  encode: ({ token }) => token,
  decode: data => proxyFor(data as Token) as never,
})
