/** Text of another program, as it may go to a terminal. */

/** Without control characters and marks of direction: they could move the cursor, change colours, or pass for other text. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu, ' ')
}
