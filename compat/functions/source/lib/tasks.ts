import { hostname } from 'node:os'

const secret: number = 10
let calls = 0
export function square(x: number): number {
  return x * x
}
export const minusTen = (x: number): number => x - secret
export class Plain {
  k: number
  constructor(k: number) {
    this.k = k
  }
  times(x: number): number {
    return x * this.k
  }
  static make(k: number): Plain {
    return new Plain(k)
  }
}
function hidden(x: number): number {
  calls++
  return x + secret + calls + (hostname() ? 0 : 1)
}
export const giveHidden = (): ((x: number) => number) => hidden
export default function plusOne(x: number): number {
  return x + 1
}
