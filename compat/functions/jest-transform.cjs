// TypeScript for Jest, by esbuild.
const { transformSync } = require('esbuild')

module.exports = {
  process(code, file) {
    return transformSync(code, {
      loader: 'ts',
      format: 'esm',
      target: 'es2022',
      sourcefile: file,
      sourcemap: 'inline',
    })
  },
}
