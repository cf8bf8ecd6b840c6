// SPDX-License-Identifier: BSD-2-Clause
//
// The config file: what it says (struct config), how it is read (config_parse) and how it is
// held against the machine it is to run on (config_check). The manager uses both at boot;
// the host program bulkhead-check uses the very same code before an ISO is made.
//
// All state lies in the caller's struct config (about 450 KB: static storage, not a stack).
// Nothing here allocates, locks or keeps state of its own; one thread at a time per struct.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_MAX_VMS 64
#define CONFIG_MAX_CORES 64       // of the host: more are not used
#define CONFIG_MAX_VCPUS 16       // of one VM
#define CONFIG_NAME_MAX 15        // bytes of a VM's name
#define CONFIG_PATH_MAX 255       // bytes of an image's or initrd's path
#define CONFIG_CMDLINE_MAX 2047   // bytes; Linux on x86 takes no more
#define CONFIG_FILE_MAX (16u << 20)
#define CONFIG_MAX_MESSAGES 20    // per phase; one more then says how many were left out
#define CONFIG_IMAGE_HEAD 32768   // bytes of an image that tell its format
#define CONFIG_MAX_MODULES 16     // of one VM, beside its initrd
#define CONFIG_MODULE_TEXT 4096   // bytes of all modules of a VM: paths, command lines, zeroes
#define CONFIG_FILES_PER_VM (2 + CONFIG_MAX_MODULES)

#define CONFIG_MEMORY_MIN (UINT64_C(4) << 20)
#define CONFIG_MEMORY_MAX (UINT64_C(512) << 30)
#define CONFIG_MEMORY_DEFAULT (UINT64_C(128) << 20)
#define CONFIG_PERIOD_DEFAULT 10000u      // microseconds
#define CONFIG_SYSTEM_SHARE_DEFAULT 10u
#define CONFIG_SYSTEM_PERIOD_DEFAULT 1000u

#define CONFIG_MANAGER_NAME "bulkhead" // stands before the manager's lines: no VM's name

// What is there at boot: VMs that can run, and images, initrds and modules that can be loaded.
#define CONFIG_RUN_MAX 59
#define CONFIG_FILES_MAX 60
// Kept back for manager and console, and what a VM takes at most beside its memory: its VMM's data,
// stack and heap, its vCPU, its console line and history; and, in config_vm.tables, page tables.
#define CONFIG_RESERVE (UINT64_C(4) << 20)
#define CONFIG_VMM_OVERHEAD (UINT64_C(320) << 10) // of that, in the VMM's own quota
#define CONFIG_VM_OVERHEAD (CONFIG_VMM_OVERHEAD + (UINT64_C(392) << 10))
#define CONFIG_VCPU_BYTES (UINT64_C(96) << 10) // each but the first, with its thread's stack
#define CONFIG_TESTDEV_BYTES (UINT64_C(64) << 10) // the memory on a test board

// A place in the file, both counted from 1, columns in bytes. 0 means: not known.
struct config_pos {
    uint32_t line;
    uint32_t column;
};

enum config_severity {
    CONFIG_ERROR,
    CONFIG_NOTE,      // about the messages themselves: how many were left out
};

// One message. The strings live only during the call of `report`.
struct config_diag {
    const char *file;
    struct config_pos pos;
    enum config_severity severity;
    const char *message;
};

struct config_sink {
    void (*report)(void *ctx, const struct config_diag *diag);
    void *ctx;
};

enum config_log_level { CONFIG_LOG_QUIET, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };

// Whether a VM that has ended starts again by itself: never; after all but a power-off, or an end
// that its user asked for; or after a power-off, too.
enum config_restart { CONFIG_RESTART_NEVER, CONFIG_RESTART_ON_FAILURE, CONFIG_RESTART_ALWAYS };
#define CONFIG_RESTARTS_MAX 32u
#define CONFIG_RESTARTS_DEFAULT 5u
#define CONFIG_RESTART_WINDOW_DEFAULT 600u

enum config_format {
    CONFIG_FORMAT_UNKNOWN,
    CONFIG_FORMAT_LINUX,        // bzImage
    CONFIG_FORMAT_MULTIBOOT2,
    CONFIG_FORMAT_MULTIBOOT1,   // with address fields, or in an ELF file
    CONFIG_FORMAT_PVH,          // ELF with Xen's note for an entry point
    CONFIG_FORMAT_FLAT,         // a flat binary, because the config says so
};

enum config_console_kind { CONFIG_CONSOLE_PORT, CONFIG_CONSOLE_PCI, CONFIG_CONSOLE_NONE };
#define CONFIG_COM1 0x3f8u
#define CONFIG_COM2 0x2f8u
#define CONFIG_COM3 0x3e8u
#define CONFIG_COM4 0x2e8u
#define CONFIG_BAUD_MAX 115200u // and all that this can be divided by

// Where the console's serial port is.
struct config_console {
    enum config_console_kind kind;
    uint16_t port;          // of CONFIG_CONSOLE_PORT: the first of eight
    uint32_t baud;
};

// Every key of the file, in the order of the table in schema.c.
enum config_key {
    CONFIG_KEY_LOG,
    CONFIG_KEY_CONSOLE,
    CONFIG_KEY_SYSTEM_SHARE,
    CONFIG_KEY_SYSTEM_PERIOD,
    CONFIG_KEY_IMAGE,
    CONFIG_KEY_INITRD,
    CONFIG_KEY_MODULE,
    CONFIG_KEY_LOAD,
    CONFIG_KEY_ENTRY,
    CONFIG_KEY_CMDLINE,
    CONFIG_KEY_MEMORY,
    CONFIG_KEY_VCPUS,
    CONFIG_KEY_CORES,
    CONFIG_KEY_SHARE,
    CONFIG_KEY_PERIOD,
    CONFIG_KEY_TICKS,
    CONFIG_KEY_RESTART,
    CONFIG_KEY_RESTART_LIMIT,
    CONFIG_KEY_AUTOSTART,
    CONFIG_KEY_HPET,
    CONFIG_KEY_TESTDEV,
    CONFIG_KEY_WATCHDOG,
    CONFIG_KEYS,
};

// module = PATH CMDLINE: both are offsets in the VM's module_text.
struct config_module {
    uint16_t path;
    uint16_t cmdline;                   // "" for none
    struct config_pos pos;
};

struct config_vm {
    char name[CONFIG_NAME_MAX + 1];
    bool bad;                           // has a mistake: do not start it
    char image[CONFIG_PATH_MAX + 1];    // as written; at boot the module config_module_name(image)
    char initrd[CONFIG_PATH_MAX + 1];   // "" for none
    char cmdline[CONFIG_CMDLINE_MAX + 1];
    uint32_t n_modules;
    uint32_t module_text_used;
    struct config_module modules[CONFIG_MAX_MODULES];
    char module_text[CONFIG_MODULE_TEXT];
    bool flat;                          // the image is a flat binary, for flat_gpa
    uint64_t flat_gpa;                  // below 4 GB
    bool entry32;                       // a Linux kernel: by its 32-bit entry
    uint64_t memory;                    // bytes, a multiple of 4 KB
    uint32_t vcpus;                     // 1 to CONFIG_MAX_VCPUS
    uint32_t n_cores;                   // 0: spread
    uint8_t cores[CONFIG_MAX_CORES]; // in the order of the file, no number twice
    uint32_t share;                     // percent of each core, 1 to 100; 0: best effort
    uint32_t period_us;                 // of the share
    enum config_restart restart;
    uint32_t restarts;                  // at most so many, 1 to CONFIG_RESTARTS_MAX,
    uint32_t restart_window_s;          // in any so many seconds; 1 to a week
    bool autostart;                     // at boot
    bool catch_up;                      // ticks that it missed come later
    bool hpet;                          // with an HPET
    bool testdev;                       // with the test board
    bool watchdog;                      // with a watchdog timer,
    uint32_t watchdog_s;                // on so many seconds after the start; 0: or never

    // Filled in by config_check for a VM that is not bad.
    enum config_format format;
    uint64_t tables;                    // bytes of page tables, at most: for its memory in pages of
                                        // 4 KB, as the VM's and as the VMM's, and for its files;
                                        // of the test board, of further vCPUs
    int core;                           // where its first vCPU belongs; -1 while cores are not
                                        // known
    uint32_t n_places;                  // likewise 0. vCPU i belongs on places[i % n_places], all
    uint8_t places[CONFIG_MAX_VCPUS];   // different, of which `core` is the first
    bool ended;                         // the caller's: it takes no part in config_place()

    struct config_pos pos;                    // of the section header
    struct config_pos key_pos[CONFIG_KEYS];   // line 0: the key is absent
    struct config_pos value_pos[CONFIG_KEYS];
};

struct config {
    const char *file;                       // for messages; the caller's string
    enum config_log_level log;
    struct config_console console;
    uint32_t system_share;                  // of manager and console, percent of core 0
    uint32_t system_period_us;
    struct config_pos system_pos[CONFIG_KEYS];
    uint64_t memory_taken;                  // by config_check, of host->memory, for all good VMs
    uint32_t n_vms;                         // bad ones too
    // In the order of the file. The one behind the last takes the keys of sections that are no
    // VM (a bad or repeated name), so that these are checked like any other's.
    struct config_vm vms[CONFIG_MAX_VMS + 1];
};

enum config_find { CONFIG_FOUND, CONFIG_MISSING, CONFIG_UNREADABLE };

// What is known of one image. `head` stays valid until the next call of `find`.
struct config_image {
    uint64_t size;            // bytes
    const uint8_t *head;      // its first bytes: CONFIG_IMAGE_HEAD, or all if it has fewer
    size_t head_size;
    const char *problem;      // when CONFIG_UNREADABLE: why
};

// The facts about the machine. Whatever is zero or NULL is not known and not checked.
struct config_host {
    enum config_find (*find)(void *ctx, const char *path, struct config_image *image);
    void *ctx;
    const char *looked_in;    // ends "image 'x' not found", for instance "among the boot modules"
    uint64_t memory;          // bytes that all VMs together may have
    uint64_t vm_overhead;     // bytes that each VM costs besides its own memory and page tables;
                              // 0: these count for nothing either
    uint32_t max_vms;         // VMs that can run
    uint32_t max_files;       // files that can be loaded at boot
    uint32_t cores;           // cores 0 to cores-1 exist
};

// Reads `length` bytes of text, which may hold anything and need not end in NUL, into *config.
// Every mistake goes to `sink`; the VM it lies in is marked bad, the others are good. Keys that
// are absent have their defaults. `file` must live as long as *config. Returns the number of
// mistakes, also of those that were not reported because there were too many.
uint32_t config_parse(struct config *config, const char *file, const char *text, size_t length,
                      const struct config_sink *sink);

// Holds the parsed file against the facts: images exist, have a known format and fit, cores
// exist, shares and memory suffice. VMs are served in the order of the file; the one that goes
// too far is marked bad. Then gives each good VM its format and core. Returns the number of
// mistakes found here.
uint32_t config_check(struct config *config, const struct config_host *host,
                      const struct config_sink *sink);

// What decides how much memory VMs may have, at boot as for a checker that knows no more of the
// machine than this.
struct config_machine {
    uint64_t ram;   // bytes that its firmware gives as usable, or was built with: the next whole MB
    uint32_t cores; // 0: not known, taken for one
    uint64_t files; // bytes of all configs and images, each as config_file_bytes() of its length
};

// For host->memory: what firmware, kernel, programs, manager and console leave for sure, as far as
// the firmware keeps less than 1 MB for itself.
uint64_t config_memory_for_vms(const struct config_machine *machine);
uint64_t config_file_bytes(uint64_t bytes); // of memory: whole pages

// Gives each VM that is neither bad nor `ended` its core anew, as config_check() does. cores: as
// host->cores was.
void config_place(struct config *config, uint32_t cores);

// The VMs that may be started.
uint32_t config_good_vms(const struct config *config);

// A file that a VM names: 0 the image, 1 the initrd, from 2 the modules. "" where there is none.
const char *config_vm_file(const struct config_vm *vm, unsigned which);

// The last component of a path: the name of the boot module. Points into `path`.
const char *config_module_name(const char *path);

// The format that the first bytes of an image show (Linux, "The Linux/x86 Boot Protocol"; "OS image
// format" of the Multiboot Specification 0.6.96 and of the Multiboot2 Specification 2.0; Xen,
// "x86/HVM direct boot ABI"). Never CONFIG_FORMAT_FLAT. An ELF file whose notes lie further back
// counts as PVH: the loader will see whether it is.
enum config_format config_image_format(const uint8_t *head, size_t size);

// Of a Linux bzImage (its setup header: Linux, "The Linux/x86 Boot Protocol"). What keeps it from
// being started, as the end of a sentence about it, or NULL.
#define CONFIG_LINUX_TEXT 128
const char *config_linux_problem(const struct config_image *image, char text[CONFIG_LINUX_TEXT]);
// The end of the memory that it takes while it unpacks itself: the least that its VM must have. An
// initrd lies behind that.
uint64_t config_linux_end(const struct config_image *image);

// "Linux bzImage" and the like.
const char *config_format_name(enum config_format format);

// "FILE:LINE:COLUMN: MESSAGE", without the parts of the position that are not known. Always
// NUL-terminated, cut to `size`.
void config_diag_format(char *buffer, size_t size, const struct config_diag *diag);
