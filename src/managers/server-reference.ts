/** What a server answers when the result is an object of its own: it arrives as a proxy. */
import type { Token } from './base-proxy.ts'

export class ServerReference {
  readonly token: Token

  constructor(token: Token) {
    this.token = token
  }
}
