// Where the task functions and the worker scripts lie on disk, as the libraries want them: absolute paths.
import { fileURLToPath } from 'node:url'

export const taskFile = name => fileURLToPath(new URL(name, import.meta.url))
