// Nest's injection reads the types that the compiler left behind as metadata.
import 'reflect-metadata';
