// Content for tests: bytes that differ everywhere and are the same in every run. Reads nothing, keeps nothing.

import { createCipheriv } from 'node:crypto'

/** `length` bytes that do not compress and do not repeat; another `seed` gives others. */
export function noise (length, seed = 0) {
  const key = Buffer.alloc(16)
  key.writeUInt32LE(seed)
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}

/** `length` zero bytes as they would come from a file, without holding them. */
export async function * zeros (length) {
  const chunk = Buffer.alloc(1 << 20)
  for (let left = length; left > 0; left -= chunk.length) {
    yield left < chunk.length ? chunk.subarray(0, left) : chunk
  }
}

/** A directory as people have them: folders, an empty file, names of several scripts. */
export function site (seed = 0) {
  return [
    { path: 'index.html', content: Buffer.from(`<h1>site ${seed}</h1>`) },
    { path: 'empty', content: Buffer.alloc(0) },
    { path: 'images/large.bin', content: noise(2_500_000, seed + 1) },
    { path: 'images/small.bin', content: noise(1000, seed + 2) },
    { path: 'images/deep/er/note.txt', content: Buffer.from('far down') },
    { path: 'with space & ünïcode 名前.txt', content: Buffer.from('named oddly') }
  ]
}
