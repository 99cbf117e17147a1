'use strict'
// workerpool asks for a worker script that registers its functions itself.
require('workerpool').worker(require('./tasks.cjs'))
