// SPDX-License-Identifier: BSD-2-Clause
//
// For the tests of the image loaders: files that are made by hand, a VM's memory to load them into,
// and abuse: a good file cut off at every length and with every byte changed, in buffers that end
// where the file does.
#pragma once

#include "guest.h"

#include <stdio.h>
#include <stdlib.h>

#include "vmm/load/load.h"

struct file {
    uint8_t bytes[40000];
    unsigned length;
};

static inline void put(struct file *f, unsigned offset, unsigned size, uint64_t value)
{
    memcpy(f->bytes + offset, &value, size);
    if (f->length < offset + size)
        f->length = offset + size;
}

// One segment of a 64-bit executable, to be entered at its first byte: `bytes` from `offset` of the
// file go to `gpa`, which has `memory` bytes.
static inline void put_elf64(struct file *f, unsigned offset, unsigned bytes, uint64_t gpa,
                             uint64_t memory)
{
    put(f, 0, 4, 0x464C457F);
    put(f, 4, 1, 2);       // class
    put(f, 5, 1, 1);       // little endian
    put(f, 16, 2, 2);      // executable
    put(f, 18, 2, 62);     // x86-64
    put(f, 24, 8, gpa);
    put(f, 32, 8, 64);     // program headers
    put(f, 54, 2, 56);
    put(f, 56, 2, 1);
    put(f, 64, 4, 1);      // PT_LOAD
    put(f, 72, 8, offset);
    put(f, 80, 8, gpa);
    put(f, 88, 8, gpa);
    put(f, 96, 8, bytes);
    put(f, 104, 8, memory);
}

struct fixture {
    struct guest_ram ram;
    struct load load;
    uint8_t *copy;
};

// The file in a buffer of its very size, so that the sanitizer sees each byte too far.
static inline bool load_file(struct fixture *f, const struct file *file, unsigned length)
{
    f->copy = malloc(length);
    memcpy(f->copy, file->bytes, length);
    f->load.ram = &f->ram;
    f->load.image = (struct load_file){ f->copy, length, "image" };
    if (f->load.cmdline == NULL)
        f->load.cmdline = "one two";
    bool ok = load_image(&f->load);
    if (!ok)
        assert_true(strncmp(f->load.error, "image: ", 7) == 0);
    free(f->copy);
    return ok;
}

static inline void begin(struct fixture *f, uint64_t megabytes)
{
    memset(f, 0, sizeof(*f));
    guest_ram_new(&f->ram, megabytes << 20);
}

static inline void end(struct fixture *f)
{
    guest_ram_free(&f->ram);
}

static inline void expect_error(const struct file *file, uint64_t megabytes, const char *part)
{
    struct fixture f;

    begin(&f, megabytes);
    assert_false(load_file(&f, file, file->length));
    if (strstr(f.load.error, part) == NULL)
        fail_msg("message: %s", f.load.error);
    end(&f);
}

static inline const char *text_at(const struct guest_ram *ram, uint64_t gpa)
{
    return ram_at(ram, gpa, 64);
}

static inline void add_module(struct fixture *f, const void *data, uint64_t bytes,
                              const char *name, const char *cmdline)
{
    f->load.module[f->load.modules++] =
        (struct load_module){ { data, bytes, name }, cmdline };
}

// Whatever the bytes are: an answer, and no access outside the file or the guest's memory.
static inline void abuse(void (*make)(struct file *), unsigned interesting)
{
    struct file file;
    struct fixture f;

    begin(&f, 32);
    make(&file);
    for (unsigned length = 1; length < file.length; length += length < interesting ? 1 : 97)
        load_file(&f, &file, length);
    for (unsigned i = 0; i < interesting; i++) {
        static const uint8_t value[] = { 0x00, 0x7F, 0x80, 0xFF };
        for (unsigned v = 0; v < sizeof(value); v++) {
            uint8_t old = file.bytes[i];
            file.bytes[i] = value[v];
            load_file(&f, &file, file.length);
            file.bytes[i] = old;
        }
    }
    end(&f);
}
