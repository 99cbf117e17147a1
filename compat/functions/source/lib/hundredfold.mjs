export function hundredfold(x) {
  return x * 100
}
