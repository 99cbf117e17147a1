/**
 * The receiver's side of private state: puts the private fields of a rebuilt class on an object without running the
 * class's constructor, through the hook that its text was given (see private-state.ts).
 */

/** What the text of a hooked class talks to. */
export interface PrivateHook {
  /** Fields are only being put in place: initialisers yield undefined. */
  active: boolean
  /** Called by the last field, when all private fields are there. */
  take: (object: object) => never
  /** Set by the class: assigns a private field. */
  set?: (object: object, name: string, value: unknown) => void
}

class Taken {
  readonly object: object

  constructor(object: object) {
    this.object = object
  }
}

export function makePrivateHook(): PrivateHook {
  return {
    active: false,
    take(object) {
      // Not an error: it leaves the constructor before the user's code in it runs.
      throw new Taken(object) as unknown as Error
    },
  }
}

interface HookedClass {
  hook: PrivateHook
  isDerived: boolean
}

const hookedClasses = new WeakMap<Function, HookedClass>()

/** The hook of a class that was rebuilt in this process. */
export function hookOf(type: Function): HookedClass | undefined {
  return hookedClasses.get(type)
}

export function rememberHook(type: Function, hook: PrivateHook, isDerived: boolean): void {
  hookedClasses.set(type, { hook, isDerived })
}

/**
 * Gives `object` the private fields of `type`. A class without a superclass makes a new object, so that `object` must
 * be undefined for it; a derived class adds to the object that its superclass would have made.
 */
export function addPrivateFields(type: Function, hook: PrivateHook, object: object | undefined): object {
  const superclass = Object.getPrototypeOf(type) as object | null
  // Called as a constructor by super(), it decides which object the fields go to.
  const giveObject = function giveObject() {
    return object
  }
  hook.active = true
  try {
    if (object !== undefined) Object.setPrototypeOf(type, giveObject)
    Reflect.construct(type, [])
  } catch (error) {
    if (error instanceof Taken) return error.object
    throw error
  } finally {
    hook.active = false
    if (object !== undefined) Object.setPrototypeOf(type, superclass)
  }
  throw new Error('This is a bug in multiproc, please report it: a class did not stop at its private fields')
}
