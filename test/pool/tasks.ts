/** Functions that workers import by reference, as a program's own modules do. */
export function square(x: number): number {
  return x * x
}

export async function squareLater(x: number): Promise<number> {
  await new Promise(resolve => setImmediate(resolve))
  return x * x
}

export class Unwelcome extends Error {
  override name = 'Unwelcome'
  readonly guest: unknown

  constructor(guest: unknown) {
    super(`${String(guest)} is not welcome`)
    this.guest = guest
  }
}

export function refuse(guest: unknown): never {
  throw new Unwelcome(guest)
}
